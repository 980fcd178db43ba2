"""What a slip of the hand makes of a number: two digits turned round, the point in another place, a digit mistaken."""

from decimal import Decimal

from ledger.money import SCALE

_SHIFTS = (1, 2, 3, -1, -2, -3)
_USUAL_DECIMALS = 8  # zeros at the end of an amount of a venue, which printing it may drop


def slips(amount: Decimal) -> list[Decimal]:
    """The amounts from which turned digits or a moved point could have made this one, without itself and zero."""
    sign, digits, exponent = amount.normalize().as_tuple()
    zeros = max(int(exponent) + _USUAL_DECIMALS, 0)
    digits, exponent = digits + (0,) * zeros, int(exponent) - zeros
    found = [amount.scaleb(shift) for shift in _SHIFTS]
    for place in range(len(digits) - 1):
        turned = list(digits)
        turned[place], turned[place + 1] = turned[place + 1], turned[place]
        found.append(Decimal((sign, tuple(turned), exponent)))
    return [slip for slip in dict.fromkeys(found) if slip not in (amount, 0)]


def is_slip(one: Decimal, other: Decimal) -> bool:
    """Whether a slip could have made one amount of the other; a single mistaken digit counts, too."""
    if one * other <= 0 or one == other:
        return False
    if any(one == other.scaleb(shift) for shift in _SHIFTS):
        return True
    texts = [str(int(abs(amount).scaleb(SCALE))) for amount in (one, other)]
    length = max(map(len, texts))
    first, second = (text.rjust(length, "0") for text in texts)
    places = [place for place in range(length) if first[place] != second[place]]
    turned = len(places) == 2 and places[1] == places[0] + 1
    return len(places) == 1 or (
        turned and first[places[0]] == second[places[1]] and first[places[1]] == second[places[0]]
    )
