"""Phase plan: commands in order, and where every value lies while it lives."""
