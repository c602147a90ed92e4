//! Python and R environments, and shared data.
