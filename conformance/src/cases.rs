//! The cases, a file for each area.

mod hub;

use crate::list::List;

/// Adds all cases.
pub(crate) fn add(list: &mut List) {
    hub::add(list);
}
