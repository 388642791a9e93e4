"""What to do: which strategy, which champion, which labels to look at."""
