//! Checks from here what an authority will check. Changes nothing that stays.
