//! Groups, their properties and their members.

use lyceum_core::GroupName;
use lyceum_store::StoreError;

use super::report::{Item, Kind, Outcome};
use super::{Import, listed};

impl Import<'_> {
    pub(super) async fn import_groups(&mut self) -> Result<(), StoreError> {
        for foreign in &self.source.groups {
            let name = match GroupName::parse(&foreign.name) {
                Ok(name) => name,
                Err(error) => {
                    let item = Item::skipped(Kind::Group, &foreign.name, error.to_string());
                    self.report.add(item);
                    continue;
                }
            };
            let (group, mut item) = if let Some(group) = self.tx.find_group(&name).await? {
                (group, Item::new(Kind::Group, &foreign.name, Outcome::Kept))
            } else {
                let group = self.tx.create_group(&name).await?;
                (group, Item::new(Kind::Group, &foreign.name, Outcome::Added))
            };
            let mut properties = group.properties.clone();
            let (mut taken, mut other) = (Vec::new(), Vec::new());
            for (key, value) in &foreign.properties {
                match properties.get(key) {
                    None => {
                        properties.insert(key.clone(), value.clone());
                        taken.push(key);
                    }
                    Some(ours) if ours != value => other.push(key),
                    Some(_) => {}
                }
            }
            if !taken.is_empty() {
                self.tx.set_group_properties(group.id, &properties).await?;
                item.change(format!("properties taken: {}", listed(&taken)));
            }
            if !other.is_empty() {
                item.note(format!(
                    "properties that stay as they are here: {}",
                    listed(&other)
                ));
            }
            let (mut added, mut missing) = (Vec::new(), Vec::new());
            for member in &foreign.users {
                match self.users.get(member) {
                    Some((user, name)) => {
                        if self.tx.add_member(group.id, *user).await? {
                            added.push(name.to_string());
                        }
                    }
                    None => missing.push(self.user_name(*member).to_owned()),
                }
            }
            if !added.is_empty() {
                item.change(format!("members added: {}", listed(&added)));
            }
            if !missing.is_empty() {
                item.note(format!("members who are not taken: {}", listed(&missing)));
            }
            self.report.add(item);
            self.groups.insert(foreign.id, (group.id, name));
        }
        Ok(())
    }
}
