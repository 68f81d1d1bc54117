//! The Compose file of a host with GPUs, laid over docker-compose.yml: the learner on the first GPU, a further rank of it on
//! each of the others that it has, and an actor on every GPU that is not the learner's, each a service of its own that sees
//! its one GPU and no other.

use anytime_service::exit::ExitError;
use clap::ValueEnum;

use pieces::{
    ACTOR, ADDRESS_NEEDED, ELSEWHERE, IMAGES, LEARNER, LEARNER_ADDRESS, LEARNER_FIRST, LEARNER_SHARE, MEETING, NO_POOL,
    RANK, RANK_NETWORK,
};

mod pieces;

/// What there is at most in one host.
const MOST_GPUS: u32 = 64;

/// The metrics of the actor on GPU 0 of a host without learner; each further GPU has the next port. The default of
/// deploy/hosts/targets.sh.
const FIRST_METRICS_PORT: u32 = 9110;

/// Memory shares of learner and actor on the one GPU of a host: what `anytime local` gives a learner and one actor.
const SHARED: (&str, &str) = ("0.6", "0.3");

/// The share of a GPU that an actor has to itself.
const ALONE: &str = "0.9";

/// What runs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostRole {
    /// Everything: the learner, actors on the other GPUs, Redis, a verifier, Prometheus, Grafana
    All,
    /// Everything but actors, which are on other hosts
    Learner,
    /// Actors on all GPUs, and a verifier; the learner is on another host
    Actors,
}

impl HostRole {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Learner => "learner",
            Self::Actors => "actors",
        }
    }
}

/// Which process of a host has which GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    role: HostRole,
    gpus: u32,
    learner_gpus: u32,
}

impl Placement {
    /// Without `learner_gpus` the learner has one, where it is on this host.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code where a GPU would be nobody's, a process would have none, or the host
    /// has another number of GPUs than there can be.
    pub fn try_new(role: HostRole, gpus: u32, learner_gpus: Option<u32>) -> Result<Self, ExitError> {
        let refuse = |text: String| Err(ExitError::configuration(text));
        if !(1..=MOST_GPUS).contains(&gpus) {
            return refuse(format!("--gpus is {gpus}; allowed: 1 to {MOST_GPUS}"));
        }
        let has_learner = role != HostRole::Actors;
        let learner_gpus = learner_gpus.unwrap_or(u32::from(has_learner));
        let placement = Self {
            role,
            gpus,
            learner_gpus,
        };
        match role {
            HostRole::Actors if learner_gpus > 0 => refuse(format!(
                "--learner-gpus is {learner_gpus}; allowed with --host-role actors: 0, because the learner is on another host"
            )),
            HostRole::Learner if learner_gpus != gpus => refuse(format!(
                "--learner-gpus is {learner_gpus}; allowed with --host-role learner: {gpus}, all of --gpus, because \
                 nothing else on this host uses one (--host-role all puts actors on the others)"
            )),
            HostRole::All if learner_gpus == 0 => {
                refuse("--learner-gpus is 0; allowed: 1 or more, except with --host-role actors".to_owned())
            }
            HostRole::All if learner_gpus >= gpus && !placement.is_shared() => {
                let allowed = match gpus {
                    1 | 2 => "1".to_owned(),
                    _ => format!("1 to {}", gpus - 1),
                };
                refuse(format!(
                    "--learner-gpus is {learner_gpus}; allowed: {allowed}, so that an actor has one of --gpus {gpus} \
                     (--host-role learner is a host without actors)"
                ))
            }
            _ => Ok(placement),
        }
    }

    /// The GPUs of the learner, by the numbers of nvidia-smi.
    pub fn learner(&self) -> Vec<u32> {
        (0..self.learner_gpus).collect()
    }

    /// The GPU of each actor.
    pub fn actors(&self) -> Vec<u32> {
        if self.is_shared() {
            return vec![0];
        }
        (self.learner_gpus..self.gpus).collect()
    }

    /// The file's text.
    pub fn file(&self) -> String {
        let mut parts = vec![self.head()];
        let (ranks, actors) = (self.ranks(), self.actors());
        if !ranks.is_empty() {
            parts.push(RANK.replace("WORLD_HERE", &self.learner_gpus.to_string()));
        }
        if !actors.is_empty() {
            parts.push(self.template());
        }
        parts.push(self.services());
        parts.extend(ranks.iter().map(|rank| self.rank(*rank)));
        parts.extend(actors.into_iter().map(|gpu| self.actor(gpu)));
        if !ranks.is_empty() {
            parts.push(RANK_NETWORK.to_owned());
        }
        parts.join("\n")
    }

    /// The learner's ranks after the first, which are their GPUs too.
    fn ranks(&self) -> Vec<u32> {
        (1..self.learner_gpus).collect()
    }

    /// The one GPU of the host is the learner's and an actor's.
    fn is_shared(&self) -> bool {
        self.role == HostRole::All && self.gpus == 1 && self.learner_gpus == 1
    }

    fn head(&self) -> String {
        let arguments = match self.role {
            HostRole::All => format!("--gpus {} --learner-gpus {}", self.gpus, self.learner_gpus),
            HostRole::Learner => format!(
                "--host-role learner --gpus {} --learner-gpus {}",
                self.gpus, self.learner_gpus
            ),
            HostRole::Actors => format!("--host-role actors --gpus {}", self.gpus),
        };
        let learner = numbered(&self.learner());
        let actors = match self.actors().as_slice() {
            [one] => format!("an actor has GPU {one}"),
            several => format!("an actor has each of {}", numbered(several)),
        };
        let ranks = match self.learner_gpus {
            0 | 1 => "",
            _ => ", a rank on each",
        };
        let who = match self.role {
            HostRole::All if self.is_shared() => "the learner and an actor share GPU 0".to_owned(),
            HostRole::All => format!("the learner has {learner}{ranks}, {actors}"),
            HostRole::Learner => format!("the learner has {learner}{ranks}, actors are on other hosts"),
            HostRole::Actors => actors,
        };
        let up = match self.role {
            HostRole::Actors => "up -d --no-build",
            HostRole::All | HostRole::Learner => "up -d --build",
        };
        let note = match self.role {
            HostRole::All => "",
            HostRole::Learner => {
                "# ANYTIME_BIND in .env is the address at which the actors of other hosts reach this one.\n"
            }
            HostRole::Actors => {
                "# ANYTIME_BIND in .env is the address of this host, ANYTIME_LEARNER_ADDRESS that of the learner's.\n"
            }
        };
        format!(
            "# Made by `anytime compose {arguments}`: {who}.\n\
             # Numbers are those of nvidia-smi. Laid over docker-compose.yml, in place of docker-compose.gpu.yml:\n\
             #   docker compose -f docker-compose.yml -f docker-compose.cluster.yml {up}\n\
             # or docker-compose. Without Grafana: --scale grafana=0. docs/cluster.md has the rest.\n{note}"
        )
    }

    /// What all actors have in common. It is all of the service `actor`, because a file cannot name the anchors of another
    /// one, and docker-compose 1.29 extends no service that waits for others. tests/tests/compose holds the two together.
    fn template(&self) -> String {
        let share = if self.is_shared() { SHARED.1 } else { ALONE };
        let (waits_for, address) = match self.role {
            HostRole::Actors => ("", LEARNER_ADDRESS),
            HostRole::All | HostRole::Learner => (LEARNER_FIRST, ""),
        };
        let template = ACTOR.replace("MEMORY_SHARE_HERE", share);
        format!("{template}{waits_for}{address}")
    }

    fn services(&self) -> String {
        if self.role == HostRole::Actors {
            return format!("services:\n{IMAGES}{ELSEWHERE}");
        }
        let share = match self.is_shared() {
            true => LEARNER_SHARE.replace("MEMORY_SHARE_HERE", SHARED.0),
            false => String::new(),
        };
        let address = if self.role == HostRole::Learner {
            ADDRESS_NEEDED
        } else {
            ""
        };
        let learner = LEARNER.replace("DEVICE_ID_HERE", "0");
        let meeting = match self.learner_gpus {
            0 | 1 => String::new(),
            world => MEETING.replace("WORLD_HERE", &world.to_string()),
        };
        format!("services:\n{IMAGES}{NO_POOL}{learner}{share}{meeting}{address}")
    }

    fn rank(&self, rank: u32) -> String {
        format!(
            "  learner-gpu{rank}:\n    <<: *rank\n    environment: {{ <<: *rank-environment, ANYTIME_RANK: {rank} }}\n{}",
            reserved(rank)
        )
    }

    fn actor(&self, gpu: u32) -> String {
        let mut text = format!("  actor-gpu{gpu}:\n    <<: *actor\n{}", reserved(gpu));
        if self.role == HostRole::Actors {
            let port = FIRST_METRICS_PORT + gpu;
            text.push_str(&format!(
                "    ports: [\"${{ANYTIME_BIND:?the IP address of this host}}:{port}:9101\"]\n"
            ));
        }
        text
    }
}

/// The line that gives a service its GPU.
fn reserved(gpu: u32) -> String {
    format!(
        "    deploy: {{ resources: {{ reservations: {{ devices: [{{ driver: nvidia, device_ids: [\"{gpu}\"], capabilities: \
         [gpu] }}] }} }} }}\n"
    )
}

/// GPUs as people name them: `GPU 0`, `GPUs 1 to 7`.
fn numbered(gpus: &[u32]) -> String {
    match gpus {
        [first, .., last] => format!("GPUs {first} to {last}"),
        [one] => format!("GPU {one}"),
        [] => "no GPU".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use anytime_service::exit::CONFIGURATION;

    use super::*;

    fn of(role: HostRole, gpus: u32, learner_gpus: Option<u32>) -> Result<(Vec<u32>, Vec<u32>), String> {
        let placement = Placement::try_new(role, gpus, learner_gpus);
        placement.map(|it| (it.learner(), it.actors())).map_err(|error| {
            assert_eq!(error.code, CONFIGURATION);
            error.message
        })
    }

    #[test]
    fn every_gpu_has_one_process_but_that_of_a_host_with_one() {
        for gpus in 2..=MOST_GPUS {
            for learner_gpus in 1..gpus {
                let (learner, actors) = of(HostRole::All, gpus, Some(learner_gpus)).unwrap();
                assert_eq!(learner.len(), learner_gpus as usize);
                let all: Vec<u32> = learner.into_iter().chain(actors).collect();
                assert_eq!(all, (0..gpus).collect::<Vec<u32>>());
            }
            assert_eq!(
                of(HostRole::Learner, gpus, Some(gpus)).unwrap(),
                ((0..gpus).collect(), vec![])
            );
            assert_eq!(of(HostRole::Actors, gpus, None).unwrap(), (vec![], (0..gpus).collect()));
        }
        assert_eq!(of(HostRole::All, 1, None).unwrap(), (vec![0], vec![0]));
        assert_eq!(of(HostRole::All, 8, None).unwrap(), (vec![0], (1..8).collect()));
        assert_eq!(of(HostRole::Learner, 1, None).unwrap(), (vec![0], vec![]));
    }

    #[test]
    fn what_leaves_a_gpu_or_a_process_without_the_other_is_refused() {
        for (role, gpus, learner_gpus, message) in [
            (HostRole::All, 0, None, "--gpus is 0; allowed: 1 to 64"),
            (HostRole::Actors, 65, None, "--gpus is 65; allowed: 1 to 64"),
            (HostRole::All, 8, Some(0), "--learner-gpus is 0; allowed: 1 or more"),
            (HostRole::All, 8, Some(8), "--learner-gpus is 8; allowed: 1 to 7"),
            (HostRole::All, 1, Some(2), "--learner-gpus is 2; allowed: 1,"),
            (
                HostRole::All,
                2,
                Some(u32::MAX),
                "--learner-gpus is 4294967295; allowed: 1,",
            ),
            (
                HostRole::Learner,
                8,
                None,
                "--learner-gpus is 1; allowed with --host-role learner: 8",
            ),
            (
                HostRole::Learner,
                8,
                Some(0),
                "--learner-gpus is 0; allowed with --host-role learner: 8",
            ),
            (
                HostRole::Actors,
                8,
                Some(1),
                "--learner-gpus is 1; allowed with --host-role actors: 0",
            ),
        ] {
            let refused = of(role, gpus, learner_gpus).unwrap_err();
            assert!(refused.starts_with(message), "{refused}");
        }
    }

    #[test]
    fn every_gpu_of_the_learner_has_a_rank() {
        let file = |role, gpus, learner_gpus| Placement::try_new(role, gpus, Some(learner_gpus)).unwrap().file();
        let one = file(HostRole::All, 8, 1);
        assert!(!one.contains("rank"), "{one}");
        for (role, gpus) in [(HostRole::All, 8), (HostRole::Learner, 3)] {
            let text = file(role, gpus, 3);
            assert_eq!(text.matches("ANYTIME_WORLD: 3").count(), 2, "{text}");
            for rank in [1, 2] {
                let service = format!("  learner-gpu{rank}:\n");
                assert_eq!(text.matches(&service).count(), 1, "{text}");
                assert!(text.contains(&format!("ANYTIME_RANK: {rank} }}")), "{text}");
            }
            assert!(
                !text.contains("learner-gpu0:") && !text.contains("learner-gpu3:"),
                "{text}"
            );
        }
    }
}
