"""The catalog's own datasets: the only code of Topwork that reads and writes disk."""
