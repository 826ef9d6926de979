"""What the parts cost: small programs that print one table each, for `make bench`.

They may import everything, and the floors beside them import paho and
pymodbus as no other part may: a floor is the least that a program on the same
libraries could do. What is compared is measured in one run, in turns, because
on a shared machine only ratios mean something.
"""
