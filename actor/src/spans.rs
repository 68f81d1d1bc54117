//! The spans of a group's trace on its way through the actor, below that of its lease. Traces are thought and summarised at
//! the same time; so the spans of a group lie over each other, and end where the group drops them.

use anytime_proto::{GroupId, JobId, WeightsVersion};
use anytime_service::traces::{Span, SpanRef};

/// What is under way of one group. All of it ends with the group.
pub(crate) struct GroupSpans {
    lease: SpanRef,
    /// From the request to the engine to the end of the last thinking.
    think: Option<Span>,
    /// Thinkings that have not ended.
    unfinished: usize,
    /// From the first end of a thinking to the end of the last summary.
    summarise: Option<Span>,
    /// From the first summaries that are sent to the verifier to the last verdict.
    grade: Option<Span>,
    names: Names,
}

/// What every span of the group says.
struct Names {
    job_id: JobId,
    group_id: GroupId,
}

impl GroupSpans {
    /// The engine is asked for so many traces of this version or a newer one, and thinks.
    pub(crate) fn begin(
        lease: &SpanRef,
        job_id: &JobId,
        group_id: &GroupId,
        traces: usize,
        version: WeightsVersion,
    ) -> Self {
        let names = Names {
            job_id: job_id.clone(),
            group_id: group_id.clone(),
        };
        let mut think = names.span("think", lease);
        think.number("traces", traces as u64).number("version", version.0);
        Self {
            lease: lease.clone(),
            think: Some(think),
            unfinished: traces,
            summarise: None,
            grade: None,
            names,
        }
    }

    /// A thinking has ended, and is summarised.
    pub(crate) fn trace_finished(&mut self) {
        self.unfinished = self.unfinished.saturating_sub(1);
        if self.unfinished == 0 {
            self.think = None;
        }
        let (names, lease) = (&self.names, &self.lease);
        self.summarise.get_or_insert_with(|| names.span("summarise", lease));
    }

    /// The engine has generated all of it.
    pub(crate) fn generated(&mut self) {
        self.summarise = None;
    }

    /// Summaries go to the verifier. Returns the span that they are graded in.
    pub(crate) fn graded(&mut self) -> SpanRef {
        let (names, lease) = (&self.names, &self.lease);
        let span = self.grade.get_or_insert_with(|| names.span("grade", lease));
        span.place()
    }

    /// All verdicts are there, and the group is pushed.
    pub(crate) fn pushed(self) -> Span {
        self.names.span("push", &self.lease)
    }

    /// The group is given up.
    pub(crate) fn fail(&mut self, reason: &str) {
        for span in [&mut self.think, &mut self.summarise, &mut self.grade]
            .into_iter()
            .flatten()
        {
            span.fail(reason);
        }
    }
}

impl Names {
    fn span(&self, name: &'static str, lease: &SpanRef) -> Span {
        let mut span = Span::begin(name, lease);
        span.text("job_id", &self.job_id).text("group_id", &self.group_id);
        span
    }
}
