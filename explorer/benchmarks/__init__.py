"""What the program costs, beside what others cost: one module per subject, each with a ``measure``.

Machines are shared and noisy, so that sides are run in turn, several times, and compared within a
round. Whatever claims to compute the same thing is held to it in the same run.
"""

SUBJECTS = ("embedding", "generation", "branches", "attention", "softmax", "window")
"""Modules of this package that hold a ``measure(plan)``, in the order in which they are run."""
