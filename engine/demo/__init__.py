"""Six real calls that show the whole path. Uses Dari only from outside, like a carrier and a shop would."""
