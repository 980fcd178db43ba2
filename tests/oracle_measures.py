"""The measures of a position by the published table (rules.md 4): one line per case, in exact fractions."""


def measures(case, assets, margin, liability, *, mark, rate, fee_rate):
    """Every measure of an open position by the published table; None where a price does not exist."""
    required = liability * (1 + rate) * (1 + fee_rate)
    debt_price = {"LB": 1 / mark, "SQ": mark}.get(case, 1)
    pnl, liquidation, bankruptcy = {
        "LB": (assets - liability / mark, (required, assets + margin), (liability, assets + margin)),
        "LQ": (assets * mark - liability, (required - margin, assets), (liability - margin, assets)),
        "SB": (assets / mark - liability, (assets, required - margin), (assets, liability - margin)),
        "SQ": (assets - liability * mark, (assets + margin, required), (assets + margin, liability)),
    }[case]
    maintenance = liability * rate * debt_price
    fee = liability * (1 + rate) * fee_rate * debt_price
    return {
        "floating_pnl": pnl,
        "maintenance_margin": maintenance,
        "liquidation_fee": fee,
        "margin_ratio": (pnl + margin) / (maintenance + fee) if maintenance + fee else None,
        "liquidation_price": _price(*liquidation),
        "bankruptcy_price": _price(*bankruptcy),
    }


def _price(numerator, denominator):
    return numerator / denominator if numerator > 0 and denominator > 0 else None
