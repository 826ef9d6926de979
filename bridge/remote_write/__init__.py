"""Remote write 1.0: encoding, and what an answer means."""
