//! The objectives that there are, one line each.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1::objective_spec::Settings;

use super::objective::Objective;
use super::{adaptthink, brpo, degrpo, elastic, gfpo, grpo, kimi, short_rl};

/// Makes the objective that the settings name.
pub fn objective(settings: &ObjectiveSettings) -> Box<dyn Objective> {
    match &settings.own {
        Settings::Brpo(own) => Box::new(brpo::Brpo::new(settings, own)),
        Settings::Grpo(own) => Box::new(grpo::Grpo::new(settings, own)),
        Settings::Elastic(own) => Box::new(elastic::Elastic::new(settings, own)),
        Settings::Adaptthink(own) => Box::new(adaptthink::AdaptThink::new(settings, own)),
        Settings::Degrpo(own) => Box::new(degrpo::DeGrpo::new(settings, own)),
        Settings::ShortRl(own) => Box::new(short_rl::ShortRl::new(settings, own)),
        Settings::Kimi(own) => Box::new(kimi::Kimi::new(settings, own)),
        Settings::Gfpo(own) => Box::new(gfpo::Gfpo::new(settings, own)),
    }
}
