//! Which process computes on which device.

use anytime_service::exit::ExitError;

use crate::arguments::ProcessArgs;

/// Number of actors by default.
const ACTORS: u32 = 2;

/// Share of a device's memory that the processes computing on it may take together; the rest is for everything else.
const TOGETHER: f64 = 0.9;

/// A learner counts as so many actors when a device's memory is shared out, for its masters, moments, gradients and
/// activations.
const LEARNER_PARTS: f64 = 2.0;

/// The device of the learner, of its further ranks and of each actor, as their `--device` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Devices {
    pub(super) learner: String,
    /// Of ranks 1, 2, …
    pub(super) ranks: Vec<String>,
    pub(super) actors: Vec<String>,
}

impl Devices {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code if `--devices` names something else than devices, or another number of
    /// them than there are processes.
    pub(super) fn try_new(options: &ProcessArgs) -> Result<Self, ExitError> {
        let further = options.learner_ranks.saturating_sub(1) as usize;
        let Some((learner, others)) = options.devices.split_first() else {
            let count = options.actors.unwrap_or(ACTORS);
            let device = options.device.as_deref().unwrap_or("auto");
            return Ok(Self {
                learner: device.to_owned(),
                ranks: vec![device.to_owned(); further],
                actors: vec![device.to_owned(); count as usize],
            });
        };
        let given = options.devices.join(",");
        let refuse = |problem: String| ExitError::configuration(format!("--devices {given}: {problem}"));
        let named = 1 + others.len();
        let (ranks, actors) = others.split_at(further.min(others.len()));
        let noun = if named == 1 { "device is" } else { "devices are" };
        if actors.is_empty() && further > 0 {
            let ranks = 1 + further;
            return Err(refuse(format!(
                "{named} {noun} named; the learner takes the first {ranks} (--learner-ranks) and each actor one more, so that \
                 {} are needed at least (the same one may be named twice)",
                ranks + 1
            )));
        }
        if actors.is_empty() {
            return Err(refuse(format!(
                "{named} {noun} named; the learner takes the first and each actor one more, so that 2 are needed at \
                 least (the same one may be named twice)"
            )));
        }
        if let Some(count) = options.actors
            && actors.len() != count as usize
        {
            let noun_actors = if count == 1 { "actor" } else { "actors" };
            return Err(refuse(format!(
                "{named} {noun} named; the learner and {count} {noun_actors} (--actors) need {}",
                count as usize + 1 + further
            )));
        }
        let device = |name: &String| {
            device(name).ok_or_else(|| {
                refuse(format!(
                    "\"{name}\" is no device; it must be cpu, or the number of a CUDA device"
                ))
            })
        };
        Ok(Self {
            learner: device(learner)?,
            ranks: ranks.iter().map(device).collect::<Result<_, _>>()?,
            actors: actors.iter().map(device).collect::<Result<_, _>>()?,
        })
    }

    /// The share of its device's memory that an actor may take, where other processes compute there too. None for an
    /// actor that is alone on its device, which then takes its own default.
    pub(super) fn share(&self, actor: usize) -> Option<f64> {
        let parts = self.parts(self.actors.get(actor)?);
        (parts > 1.0).then_some(TOGETHER / parts)
    }

    /// The share of its device's memory that the learner may take, where actors compute there too.
    pub(super) fn learner_share(&self) -> Option<f64> {
        // Rank 0 plans for all of them.
        let devices = self.ranks.iter().chain([&self.learner]);
        let parts = devices.map(|device| self.parts(device)).fold(0.0, f64::max);
        (parts > LEARNER_PARTS).then_some(TOGETHER * LEARNER_PARTS / parts)
    }

    /// The parts into which a device's memory is shared out.
    fn parts(&self, device: &str) -> f64 {
        let actors = self.actors.iter().filter(|other| *other == device).count();
        let ranks = self
            .ranks
            .iter()
            .chain([&self.learner])
            .filter(|other| *other == device);
        actors as f64 + LEARNER_PARTS * ranks.count() as f64
    }
}

/// `2` and `cuda:2` are `cuda:2`, `cpu` is itself.
fn device(name: &str) -> Option<String> {
    if name == "cpu" {
        return Some(name.to_owned());
    }
    let number: u32 = name.strip_prefix("cuda:").unwrap_or(name).parse().ok()?;
    Some(format!("cuda:{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(devices: &[&str], actors: Option<u32>) -> ProcessArgs {
        ProcessArgs {
            actors,
            learner_ranks: 1,
            threads: 1,
            redis: None,
            device: None,
            devices: devices.iter().map(|device| (*device).to_owned()).collect(),
        }
    }

    fn of(devices: &[&str], actors: Option<u32>) -> Result<Devices, String> {
        Devices::try_new(&options(devices, actors)).map_err(|error| {
            assert_eq!(error.code, anytime_service::exit::CONFIGURATION);
            error.message
        })
    }

    #[test]
    fn the_first_is_the_learners_and_the_others_are_the_actors() {
        let devices = of(&["0", "1", "cuda:3"], None).unwrap();
        assert_eq!(devices.learner, "cuda:0");
        assert_eq!(devices.actors, ["cuda:1", "cuda:3"]);
        let devices = of(&["cpu", "0"], Some(1)).unwrap();
        assert_eq!(
            (devices.learner.as_str(), devices.actors),
            ("cpu", vec!["cuda:0".to_owned()])
        );
    }

    #[test]
    fn the_first_are_the_ranks() {
        let two = |devices: &[&str], actors| {
            let options = ProcessArgs {
                learner_ranks: 2,
                ..options(devices, actors)
            };
            Devices::try_new(&options).map_err(|error| error.message)
        };
        let devices = two(&["0", "1", "2", "2"], None).unwrap();
        assert_eq!(
            (devices.learner.as_str(), devices.ranks.as_slice()),
            ("cuda:0", &["cuda:1".to_owned()][..])
        );
        assert_eq!(devices.actors, ["cuda:2", "cuda:2"]);
        assert_eq!(two(&[], Some(3)).unwrap().ranks, ["auto"]);
        let refused = two(&["0", "1"], None).unwrap_err();
        assert!(
            refused.contains("the first 2 (--learner-ranks)") && refused.contains("3 are needed"),
            "{refused}"
        );
        assert!(two(&["0", "1", "2"], Some(2)).unwrap_err().ends_with("need 4"));
    }

    #[test]
    fn without_a_list_all_have_one_device() {
        let devices = of(&[], None).unwrap();
        assert_eq!(devices.learner, "auto");
        assert_eq!(devices.actors, ["auto", "auto"]);
        assert_eq!(of(&[], Some(5)).unwrap().actors.len(), 5);
    }

    #[test]
    fn too_few_too_many_and_what_is_none() {
        for (devices, actors, message) in [
            (
                vec!["0"],
                None,
                "--devices 0: 1 device is named; the learner takes the first",
            ),
            (
                vec!["0"],
                Some(1),
                "--devices 0: 1 device is named; the learner takes the first",
            ),
            (
                vec!["0", "1"],
                Some(2),
                "--devices 0,1: 2 devices are named; the learner and 2 actors (--actors) need 3",
            ),
            (
                vec!["0", "1", "2"],
                Some(1),
                "--devices 0,1,2: 3 devices are named; the learner and 1 actor (--actors) need 2",
            ),
            (
                vec!["0", "gpu"],
                None,
                "--devices 0,gpu: \"gpu\" is no device; it must be cpu",
            ),
            (vec!["-1", "0"], None, "--devices -1,0: \"-1\" is no device"),
            (vec!["0", ""], None, "--devices 0,: \"\" is no device"),
            (vec!["auto", "0"], None, "--devices auto,0: \"auto\" is no device"),
            (vec!["cuda:x", "0"], None, "\"cuda:x\" is no device"),
        ] {
            let refused = of(&devices, actors).unwrap_err();
            assert!(refused.contains(message), "{refused}");
        }
    }

    #[test]
    fn who_shares_a_device_takes_a_share_of_it() {
        let alone = of(&["0", "1", "2"], None).unwrap();
        assert_eq!((alone.share(0), alone.share(1), alone.share(2)), (None, None, None));
        assert_eq!(alone.learner_share(), None);
        // The learner counts twice.
        let with_the_learner = of(&["0", "0", "0"], None).unwrap();
        assert_eq!(with_the_learner.share(0), Some(0.9 / 4.0));
        assert_eq!(with_the_learner.learner_share(), Some(0.9 / 2.0));
        let two_of_four = of(&["0", "1", "1", "2"], None).unwrap();
        assert_eq!((two_of_four.share(0), two_of_four.share(2)), (Some(0.45), None));
    }
}
