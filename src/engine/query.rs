//! Answers to questions about the state, for the command line, chat and pages.
