"""What if somebody called: who would ring, what everyone would hear, which message would go. Changes nothing."""
