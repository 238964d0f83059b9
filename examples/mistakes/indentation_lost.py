# Wrong: the body of the loop is not indented. Seen: IndentationError before anything runs.
# Code: FB-SYNTAX-04
# Fix: "print(t)" => "    print(t)"
import torch

for t in range(3):
print(t)
