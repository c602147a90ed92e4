//! TestHub, visitors, fakes and a tiny notebook server; used by tests only.
