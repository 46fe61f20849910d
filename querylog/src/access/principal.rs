//! Who calls: [`Principal`], a [`User`] or a [`Service`], for queries; [`Account`] for exports.

use crate::model::scope::ExportScope;

/// A caller that may query the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// Queries its own records, and those of its environment.
    User(User),
    /// Queries the records of its environment.
    Service(Service),
}

impl Principal {
    /// Returns the id of the caller's environment.
    pub fn exec_env_id(&self) -> &str {
        match self {
            Self::User(user) => &user.exec_env_id,
            Self::Service(service) => &service.exec_env_id,
        }
    }

    #[cfg(feature = "audit-api")]
    pub(crate) fn exec_env_name(&self) -> Option<&str> {
        match self {
            Self::User(user) => user.exec_env_name.as_deref(),
            Self::Service(service) => service.exec_env_name.as_deref(),
        }
    }
}

impl From<User> for Principal {
    fn from(user: User) -> Self {
        Self::User(user)
    }
}

impl From<Service> for Principal {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

/// A user that may query the audit log.
///
/// ```
/// use tagtrail_querylog::access::User;
///
/// let mut ada = User::new("u1", "ada@example.com", "env1");
/// ada.name = Some("Ada".to_owned());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct User {
    /// The id of the user.
    pub id: String,
    /// The e-mail address. Records with this address are the user's own.
    pub email: String,
    /// The name.
    pub name: Option<String>,
    /// The handle.
    pub handle: Option<String>,
    /// The id of the user's environment.
    pub exec_env_id: String,
    /// The name of the environment.
    pub exec_env_name: Option<String>,
}

impl User {
    /// Creates a user of an environment.
    pub fn new(id: impl Into<String>, email: impl Into<String>, exec_env_id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            email: email.into(),
            name: None,
            handle: None,
            exec_env_id: exec_env_id.into(),
            exec_env_name: None,
        }
    }
}

/// A service that may query the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Service {
    /// The id of the service's environment.
    pub exec_env_id: String,
    /// The name of the environment.
    pub exec_env_name: Option<String>,
}

impl Service {
    /// Creates a service of an environment.
    pub fn new(exec_env_id: impl Into<String>) -> Self {
        Self { exec_env_id: exec_env_id.into(), exec_env_name: None }
    }
}

/// An account that may export parts of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Account {
    /// What the account may export: region groups, and databases with those below them.
    pub scopes: Vec<ExportScope>,
}

impl Account {
    /// Creates an account that may export these scopes.
    pub fn new(scopes: impl IntoIterator<Item = ExportScope>) -> Self {
        Self { scopes: scopes.into_iter().collect() }
    }
}
