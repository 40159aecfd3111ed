//! Roles, and what each of them may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a caller is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May do everything, tokens and the audit included.
    Admin,
    /// Runs the cluster: defines queues, contracts and limits, pauses, drains, and does what submitters do.
    Operator,
    /// Gives work to its queues, looks after its own jobs there, and takes results out.
    Submitter,
    /// Does the work, and sees nothing else.
    Worker,
    /// Looks, and changes nothing.
    Viewer,
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// See jobs, queues, workers, limits and totals.
    View,
    /// Read the whole ledger and the whole state: what a caller that is held to some queues may not.
    ReadAll,
    /// Give work to queues, cancel and retry it.
    Submit,
    /// Change how the cluster works.
    Operate,
    /// Lease jobs and deliver results.
    Work,
    /// Give and take away access, and see who used it.
    Administer,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::View, Self::ReadAll, Self::Submit, Self::Operate, Self::Work, Self::Administer];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::ReadAll => "read_all",
            Self::Submit => "submit",
            Self::Operate => "operate",
            Self::Work => "work",
            Self::Administer => "administer",
        }
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Operator, Self::Submitter, Self::Worker, Self::Viewer];

    /// Whether a caller of this role may do what needs `permission`.
    pub const fn may(self, permission: Permission) -> bool {
        match (self, permission) {
            (Self::Admin, _) => true,
            (Self::Operator, Permission::Work | Permission::Administer) => false,
            (Self::Operator, _) => true,
            (Self::Submitter, Permission::View | Permission::ReadAll | Permission::Submit) => true,
            (Self::Submitter, Permission::Operate | Permission::Work | Permission::Administer) => false,
            (Self::Worker, Permission::Work) => true,
            (Self::Worker, _) => false,
            (Self::Viewer, Permission::View | Permission::ReadAll) => true,
            (Self::Viewer, _) => false,
        }
    }

    /// Whether a token of this role can be held to some queues. What admins and operators do is about the whole cluster.
    pub const fn can_be_held_to_queues(self) -> bool {
        match self {
            Self::Submitter | Self::Worker | Self::Viewer => true,
            Self::Admin | Self::Operator => false,
        }
    }

    /// Its name, as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Submitter => "submitter",
            Self::Worker => "worker",
            Self::Viewer => "viewer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: write admin, operator, submitter, worker or viewer")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let named = Self::ALL.into_iter().find(|role| role.name() == text);
        named.ok_or_else(|| UnknownRole(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_survives_its_name() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(UnknownRole("root".into())));
    }

    #[test]
    fn nobody_but_an_admin_administers_and_only_admins_do_everything() {
        for permission in Permission::ALL {
            assert!(Role::Admin.may(permission));
        }
        for role in [Role::Operator, Role::Submitter, Role::Worker, Role::Viewer] {
            assert!(!role.may(Permission::Administer), "{role}");
        }
        let of = |role: Role| Permission::ALL.into_iter().filter(|p| role.may(*p)).collect::<Vec<_>>();
        assert_eq!(of(Role::Worker), [Permission::Work]);
        assert_eq!(of(Role::Viewer), [Permission::View, Permission::ReadAll]);
        assert_eq!(of(Role::Submitter), [Permission::View, Permission::ReadAll, Permission::Submit]);
    }
}
