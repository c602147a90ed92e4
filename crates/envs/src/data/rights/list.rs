//! An access control list, as the attribute that the kernel itself reads (acl(5)), so that no program has to be there.

/// The version of the attribute's form.
const VERSION: u32 = 2;
/// How long a list is that only has an owner, a group and others.
pub(super) const PLAIN: usize = 4 + 3 * 8;
/// The number where none belongs.
const NO_ID: u32 = u32::MAX;

/// An access control list.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) others: u32,
    pub(super) users: Vec<(u32, u32)>,
    pub(super) groups: Vec<(u32, u32)>,
}

impl Entries {
    /// Whether modes cannot say it.
    pub(super) fn is_extended(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }

    /// What anybody but the owner and others may have at most.
    fn mask(&self) -> u32 {
        let named = self.users.iter().chain(&self.groups);
        named.fold(self.group, |mask, (_, bits)| mask | bits)
    }

    /// With a list, the bits of the group are those of the mask.
    pub(super) fn mode(&self) -> u32 {
        let group = if self.is_extended() {
            self.mask()
        } else {
            self.group
        };
        self.owner << 6 | group << 3 | self.others
    }

    /// The attribute: a version, then entries of tag, rights and number, in this order.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        let mut put = |tag: u16, bits: u32, id: u32| {
            bytes.extend(tag.to_le_bytes());
            bytes.extend((u16::try_from(bits).unwrap_or(0)).to_le_bytes());
            bytes.extend(id.to_le_bytes());
        };
        put(0x01, self.owner, NO_ID);
        for (id, bits) in &self.users {
            put(0x02, *bits, *id);
        }
        put(0x04, self.group, NO_ID);
        for (id, bits) in &self.groups {
            put(0x08, *bits, *id);
        }
        if self.is_extended() {
            put(0x10, self.mask(), NO_ID);
        }
        put(0x20, self.others, NO_ID);
        bytes
    }
}
