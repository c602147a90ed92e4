//! Made-up questions.
