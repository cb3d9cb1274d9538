"""A made-up past: numbers and old calls in the shape of real ones, to measure on what a full database slows down.

Only an empty database is filled: what is made up never stands beside what happened.
"""
