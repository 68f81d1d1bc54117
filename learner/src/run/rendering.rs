//! From a problem to the ids that the model sees: instruction, chat template, and the marker that opens the thinking.

use anytime_policy::{Chat, TemplateArguments, Tokenizer};
use anytime_proto::settings::{InvalidSetting, JobSettings};

use super::model::OpenModel;
use super::prompts::with_instruction;

/// Two messages that differ at every place but their blanks, so that a template which shows any part of a message tells
/// them apart.
const PROBES: [&str; 2] = ["12 + 30", "75 - 46"];

/// Makes the prompts of a job.
pub(super) struct Rendering<'a> {
    settings: &'a JobSettings,
    tokenizer: &'a Tokenizer,
    /// Rows of the embedding.
    vocabulary: i64,
    /// The marker that opens the thinking.
    open: &'a [u32],
    uses_template: bool,
    arguments: TemplateArguments,
}

impl<'a> Rendering<'a> {
    /// Chooses between the model's chat template and the problems as they are, and checks that the template shows what
    /// it is given.
    ///
    /// # Errors
    /// The first setting of `data` that the template does not go with.
    pub(super) fn new(
        settings: &'a JobSettings,
        model: &'a OpenModel,
        open: &'a [u32],
    ) -> Result<Self, InvalidSetting> {
        let data = &settings.data;
        let tokenizer = &model.tokenizer;
        let has_template = tokenizer.has_chat_template();
        if data.chat_template == Some(true) && !has_template {
            return Err(InvalidSetting::new(
                "data.chat_template",
                true,
                "it must be false, because the model has no chat template",
            ));
        }
        // The settings have been checked already, so that every value is JSON.
        let arguments = TemplateArguments::from_json(&data.template_arguments)
            .map_err(|error| InvalidSetting::because("data.template_arguments", error.to_string()))?;
        let rendering = Self {
            settings,
            tokenizer,
            vocabulary: model.config.vocab_size,
            open,
            uses_template: data.chat_template.unwrap_or(has_template),
            arguments,
        };
        if rendering.uses_template {
            rendering.check_template()?;
        } else {
            rendering.refuse_what_needs_a_template()?;
        }
        Ok(rendering)
    }

    fn refuse_what_needs_a_template(&self) -> Result<(), InvalidSetting> {
        let data = &self.settings.data;
        let why = match data.chat_template {
            Some(false) => "data.chat_template is false",
            _ => "the model has none",
        };
        let reason = format!("it needs a chat template, and {why}; leave it out");
        if let Some(system) = &data.system {
            return Err(InvalidSetting::new("data.system", system, reason));
        }
        match data.template_arguments.keys().next() {
            Some(name) => Err(InvalidSetting::because(
                &format!("data.template_arguments.{name}"),
                reason,
            )),
            None => Ok(()),
        }
    }

    /// A template that fails is left to the first prompt, which can be named.
    fn check_template(&self) -> Result<(), InvalidSetting> {
        let origin = self.tokenizer.chat_template_origin();
        let origin = origin.map(ToString::to_string).unwrap_or_default();
        for name in self.arguments.names() {
            if !self.tokenizer.chat_template_names(name) {
                let reason =
                    format!("the model's chat template ({origin}) reads no such name; correct it, or leave it out");
                return Err(InvalidSetting::because(
                    &format!("data.template_arguments.{name}"),
                    reason,
                ));
            }
        }
        let system = self.settings.data.system.as_deref();
        let render = |system, user| {
            self.tokenizer.render_chat(&Chat {
                system,
                user,
                arguments: &self.arguments,
            })
        };
        if let (Ok(one), Ok(other)) = (render(system, PROBES[0]), render(system, PROBES[1]))
            && one == other
        {
            let renders = if one.trim().is_empty() {
                "nothing".to_owned()
            } else {
                format!("{one:?}, whatever the message says")
            };
            let reason = format!(
                "the model's chat template ({origin}) renders {renders}; correct the template, or set this to false"
            );
            return Err(InvalidSetting::because("data.chat_template", reason));
        }
        let open = &self.settings.markers.open;
        let opens = |rendered: &str| !open.trim().is_empty() && rendered.trim_end().ends_with(open.trim());
        // Published templates of models that reason end with `<think>` themselves.
        let all_open =
            || (PROBES.into_iter()).all(|probe| render(system, probe).is_ok_and(|rendered| opens(&rendered)));
        if !self.open.is_empty() && all_open() {
            let reason = format!(
                "the model's chat template ({origin}) ends prompts with it already, so that thinking would be opened twice; \
                 leave it out"
            );
            return Err(InvalidSetting::new("markers.open", open, reason));
        }
        let Some(system) = system else { return Ok(()) };
        match (render(None, PROBES[0]), render(Some(system), PROBES[0])) {
            (Ok(without), Ok(with)) if without == with => {
                let reason =
                    format!("the model's chat template ({origin}) leaves system messages out; leave it out, too");
                Err(InvalidSetting::new("data.system", system, reason))
            }
            (Ok(_), Err(error)) => {
                let reason = format!("the model's chat template fails on it ({error}); leave it out");
                Err(InvalidSetting::new("data.system", system, reason))
            }
            _ => Ok(()),
        }
    }

    /// The ids of a problem's prompt. `field` names the file that it is from.
    ///
    /// # Errors
    /// A template that fails on it, or a text that the model's tokenizer or embedding has no ids for.
    pub(super) fn ids(&self, field: &str, problem: &str) -> Result<Vec<u32>, InvalidSetting> {
        let refuse = |error: &dyn std::fmt::Display| {
            let reason = format!("the model's tokenizer cannot spell the prompt {problem:?} ({error}); leave it out");
            InvalidSetting::because(field, reason)
        };
        let user = with_instruction(problem, &self.settings.data.instruction);
        let encoded = if self.uses_template {
            self.tokenizer.encode(&self.through_template(problem, &user)?)
        } else {
            self.tokenizer.encode_raw_prompt(&user)
        };
        let mut ids = encoded.map_err(|error| refuse(&error))?;
        ids.extend_from_slice(self.open);
        if ids.is_empty() {
            return Err(refuse(&"it has no tokens"));
        }
        self.refuse_beyond_embedding(field, problem, &ids)?;
        Ok(ids)
    }

    /// Refuses ids beyond the embedding: a tokenizer may have more ids than the embedding has rows.
    ///
    /// # Errors
    /// The first id that the model cannot read.
    pub(super) fn refuse_beyond_embedding(&self, field: &str, text: &str, ids: &[u32]) -> Result<(), InvalidSetting> {
        let Some(id) = ids.iter().find(|&&id| i64::from(id) >= self.vocabulary) else {
            return Ok(());
        };
        let token = self.tokenizer.decode(&[*id]).unwrap_or_default();
        let reason = format!(
            "the text {text:?} holds the token {token:?}, whose id {id} is beyond the {} rows of the model's embedding \
             (vocab_size in config.json); leave it out",
            self.vocabulary
        );
        Err(InvalidSetting::because(field, reason))
    }

    fn through_template(&self, problem: &str, user: &str) -> Result<String, InvalidSetting> {
        let chat = Chat {
            system: self.settings.data.system.as_deref(),
            user,
            arguments: &self.arguments,
        };
        self.tokenizer.render_chat(&chat).map_err(|error| {
            let reason = format!(
                "the model's template fails on the prompt {problem:?} ({error}); correct the template, or set this to \
                 false"
            );
            InvalidSetting::because("data.chat_template", reason)
        })
    }
}
