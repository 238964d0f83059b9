"""Captured functions: what a call recorded is recorded again, without running the function, while its guards hold.

watch      runs a function and sees which code it runs and what that code may not do
guards     everything that this code reads besides its arguments, as conditions in straight-line code
arguments  the arguments of a call: their form, and the conditions that calls of that form meet
replay     from what a call recorded and returned to the code that does it again
function   the wrapper around a function: its captures, and when it makes another
"""
