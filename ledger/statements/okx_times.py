"""Times of the exchange's web exports: without a zone, in the display zone that the preamble names."""

import polars as pl

ZONE = "@Time Zone"
"""The column in which the preamble's zone is offered."""

_FORM = r"^(?:UTC|GMT)?([+-]?)([0-9]{1,2})?(?::?([0-9]{2}))?$"  # UTC+8, UTC0, UTC-5, UTC+5:30, UTC
_SHAPES = ("%Y-%m-%d %H:%M:%S%.f", "%a %b %d %H:%M:%S %Y")  # the second is that of old files: Mon Mar 01 ... 2021


def _minutes(zone: pl.Expr) -> pl.Expr:
    """Minutes that a zone is before UTC; empty where it is no zone."""
    text = zone.str.replace_all(r"\s", "").str.to_uppercase()
    sign = pl.when(text.str.extract(_FORM, 1) == "-").then(-1).otherwise(1)
    hours, minutes = (text.str.extract(_FORM, group).cast(pl.Int64).fill_null(0) for group in (2, 3))
    known = text.str.contains(_FORM) & (hours <= 14) & (minutes < 60)
    return pl.when(known).then(sign * (60 * hours + minutes))


def moment(text: pl.Expr, zone: pl.Expr, otherwise: str = "UTC") -> pl.Expr:
    """A time in UTC from a text and the zone named beside it; empty where either cannot be read.

    A zone in the text itself counts first. Where none is named, `otherwise` is taken.
    """
    spaced = text.str.strip_chars().str.replace(r"^([0-9-]{10})T", "$1 ")
    own = spaced.str.replace("Z$", "+00:00").str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    )
    plain = spaced.str.replace(r"\s*CST\b", "")
    local = pl.coalesce(plain.str.to_datetime(shape, time_unit="us", strict=False) for shape in _SHAPES)
    minutes = _minutes(pl.when(zone != "").then(zone).otherwise(pl.lit(otherwise)))
    return pl.coalesce(own, (local - pl.duration(minutes=minutes)).dt.replace_time_zone("UTC"))
