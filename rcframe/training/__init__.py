"""Training: the stages of a plan, the loop that walks them, and what hangs on them."""
