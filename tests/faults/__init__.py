"""What must not happen whatever breaks: a wrong answer, no answer, a restart."""
