//! What the hub does: log in, start, stop, issue tokens; and the background tasks that keep it true.
