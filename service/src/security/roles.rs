//! The roles, and the one table of which of them may call what. A method that is not in the table is refused to everybody;
//! `every_method_is_in_the_table` walks over the descriptors of all services.

/// What a caller is allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Submits jobs and decides about them, and reads what `Read` may.
    Submit,
    /// Generates: leases, pushes, fetches weights, has answers graded.
    Act,
    /// Looks at jobs, their events and generations, and at metrics.
    Read,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Submit, Self::Act, Self::Read];

    /// As it is written in the file of access.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Act => "act",
            Self::Read => "read",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody who gets a connection: says nothing but whether a service serves, which supervisors and balancers ask
    /// without a token.
    Everybody,
    /// Those who have one of these roles.
    Roles(&'static [Role]),
}

const SUBMIT: Who = Who::Roles(&[Role::Submit]);
const ACT: Who = Who::Roles(&[Role::Act]);
/// Those who may look at jobs, and at the metrics.
pub(super) const LOOK: &[Role] = &[Role::Submit, Role::Read];
const ANY_ROLE: Who = Who::Roles(&Role::ALL);

/// Every method of every server, by its path.
pub const METHODS: &[(&str, Who)] = &[
    ("/anytime.v1.JobService/Submit", SUBMIT),
    // Reads model and data files, as a submission does.
    ("/anytime.v1.JobService/Check", SUBMIT),
    ("/anytime.v1.JobService/Cancel", SUBMIT),
    ("/anytime.v1.JobService/Resume", SUBMIT),
    ("/anytime.v1.JobService/Export", SUBMIT),
    ("/anytime.v1.JobService/Delete", SUBMIT),
    ("/anytime.v1.JobService/ReplayDeadLetters", SUBMIT),
    ("/anytime.v1.JobService/ListDeadLetters", Who::Roles(LOOK)),
    ("/anytime.v1.JobService/GetDeadLetter", Who::Roles(LOOK)),
    ("/anytime.v1.JobService/Get", Who::Roles(LOOK)),
    ("/anytime.v1.JobService/List", Who::Roles(LOOK)),
    ("/anytime.v1.JobService/Watch", Who::Roles(LOOK)),
    ("/anytime.v1.JobService/Account", Who::Roles(LOOK)),
    ("/anytime.v1.JobService/Generations", Who::Roles(LOOK)),
    ("/anytime.v1.DiagnosisService/Diagnose", Who::Roles(LOOK)),
    ("/anytime.v1.RolloutService/Lease", ACT),
    ("/anytime.v1.RolloutService/Push", ACT),
    ("/anytime.v1.WeightsService/Watch", ACT),
    ("/anytime.v1.WeightsService/Fetch", ACT),
    ("/anytime.v1.VerifierService/Verify", ACT),
    ("/anytime.v1.VerifierService/VerifyStream", ACT),
    ("/anytime.v1.ReasonService/Reason", SUBMIT),
    ("/grpc.health.v1.Health/Check", Who::Everybody),
    ("/grpc.health.v1.Health/Watch", Who::Everybody),
    // Lists every method and message, but nothing that is not in the sources.
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ANY_ROLE),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ANY_ROLE,
    ),
];

/// The paths that a server of answers has over HTTP, beside its methods.
pub const PATHS: &[(&str, Who)] = &[
    ("/health", Who::Everybody),
    // The page, which a browser fetches before it can show a token, and which says nothing of the model.
    ("/", Who::Everybody),
    ("/page.css", Who::Everybody),
    ("/page.js", Who::Everybody),
    ("/metrics", Who::Roles(LOOK)),
    ("/v1/models", Who::Roles(LOOK)),
    ("/v1/chat/completions", SUBMIT),
];

/// What stands before the name of one model.
const ONE_MODEL: &str = "/v1/models/";

/// Who may call the method or ask the path; None where no server has it.
pub(super) fn who_may_call(path: &str) -> Option<Who> {
    let path = if path.starts_with(ONE_MODEL) {
        "/v1/models"
    } else {
        path
    };
    let mut all = METHODS.iter().chain(PATHS);
    all.find(|(known, _)| *known == path).map(|(_, who)| *who)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn paths_of(descriptors: &[u8]) -> BTreeSet<String> {
        let set = FileDescriptorSet::decode(descriptors).expect("descriptors");
        let mut paths = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    paths.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        paths
    }

    #[test]
    fn every_method_is_in_the_table() {
        let described: BTreeSet<String> = [
            anytime_proto::FILE_DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ]
        .into_iter()
        .flat_map(paths_of)
        .collect();
        assert!(described.len() > 15, "{described:?}");
        let table: BTreeSet<String> = METHODS.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(table, described);
        assert_eq!(METHODS.len(), table.len(), "a method stands twice");
    }

    #[test]
    fn only_the_health_is_open() {
        for (path, who) in METHODS {
            let is_health = path.starts_with("/grpc.health.v1.Health/");
            assert_eq!(*who == Who::Everybody, is_health, "{path}");
        }
    }

    #[test]
    fn of_the_paths_of_http_too() {
        let open: Vec<&str> = PATHS
            .iter()
            .filter(|(_, who)| *who == Who::Everybody)
            .map(|(path, _)| *path)
            .collect();
        assert_eq!(open, ["/health", "/", "/page.css", "/page.js"]);
        assert_eq!(who_may_call("/v1/models/any"), Some(Who::Roles(LOOK)));
        assert_eq!(who_may_call("/v1/chat"), None);
    }

    #[test]
    fn who_may_look_may_change_nothing() {
        let may = |role: Role, name: &str| {
            let path = format!("/anytime.v1.{name}");
            matches!(who_may_call(&path), Some(Who::Roles(roles)) if roles.contains(&role))
        };
        for changes in [
            "Submit",
            "Check",
            "Cancel",
            "Resume",
            "Export",
            "Delete",
            "ReplayDeadLetters",
        ] {
            assert!(may(Role::Submit, &format!("JobService/{changes}")));
            assert!(!may(Role::Read, &format!("JobService/{changes}")));
            assert!(!may(Role::Act, &format!("JobService/{changes}")));
        }
        for generates in ["RolloutService/Lease", "RolloutService/Push", "WeightsService/Fetch"] {
            assert!(may(Role::Act, generates));
            assert!(!may(Role::Submit, generates) && !may(Role::Read, generates));
        }
    }
}
