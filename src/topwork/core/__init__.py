"""Names and small types that every room shares; it imports nothing else of Topwork."""
