"""Films: found, decoded, kept, augmented, drawn in an order, loaded."""
