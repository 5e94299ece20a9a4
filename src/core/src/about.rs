//! What the provider says about itself: which conversation of its own it is in, how full that is, and which model it
//! uses (behaviour 2, 10, 14).

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::config::Config;
use crate::effect::Effects;
use crate::event::ContextReport;
use crate::facts::ConversationFact;
use crate::ids::Text;
use crate::mutant::Mutant;
use crate::note::Note;
use crate::time::Wall;
use crate::view::{ContextView, ModelView};
use crate::work::{Kind, Shown};

/// An id that is longer than this many bytes is none.
const ID_MOST: usize = 256;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct About {
    /// It outlives processes and runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation: Option<Text>,
    /// Of the living process and this conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<ContextReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<Probed>,
}

/// What the provider was last seen to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probed {
    pub(crate) model: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) effort: Option<Text>,
    /// When it said so last.
    pub(crate) at: Wall,
}

impl About {
    /// What the run before left; a conversation with another kind of provider is none of this one.
    pub(crate) fn from_facts(conversation: Option<ConversationFact>, provider: &str) -> Self {
        let ours = conversation.filter(|fact| &*fact.provider == provider);
        Self { conversation: ours.map(|fact| fact.id), ..Self::default() }
    }

    /// Nothing was said yet: the marks of those that say nothing are as they always were.
    pub(crate) fn is_silent(&self) -> bool {
        *self == Self::default()
    }

    /// The process is over. The conversation can be gone on with, and the next process is likely to use the same model.
    pub(crate) fn process_is_gone(&mut self, config: &Config) {
        self.context = None;
        if config.is_mutant(Mutant::ForgetsTheConversation) {
            self.conversation = None;
        }
    }
}

impl Core {
    /// The provider's own conversation, as far as it said which.
    pub fn conversation(&self) -> Option<&str> {
        self.about.conversation.as_deref()
    }

    pub(crate) fn conversation_is(&mut self, id: Text, fx: &mut Effects) {
        if id.is_empty() || id.len() > ID_MOST {
            self.status.malformed += 1;
            fx.note(Note::Malformed { what: "conversation of the provider", reason: "no id, or none so long".into() });
            return;
        }
        if self.about.conversation.as_ref() != Some(&id) {
            fx.note(Note::Conversation { id: id.clone() });
            self.about.conversation = Some(id);
            self.about.context = None;
            // Whoever comes next goes on with this one, however soon.
            fx.sync = true;
        }
    }

    pub(crate) fn context_is(&mut self, report: ContextReport, fx: &mut Effects) {
        if report.window == 0 {
            fx.note(Note::Ignored { what: "context without a window", name: report.source.as_str().into() });
            return;
        }
        self.about.context = Some(report);
    }

    pub(crate) fn model_is(&mut self, model: Text, effort: Option<Text>) {
        self.about.model = Some(Probed { model, effort, at: self.now.wall });
    }

    /// Which model it uses, as far as that is known.
    pub(crate) fn model(&self) -> Option<ModelView<'_>> {
        let us = &self.config.identity;
        match &self.about.model {
            Some(probed) => Some(ModelView {
                id: &probed.model,
                effort: probed.effort.as_deref().or(us.effort.as_deref()),
                probed_at: Some(probed.at),
            }),
            None => us.model.as_deref().map(|id| ModelView { id, effort: us.effort.as_deref(), probed_at: None }),
        }
    }

    pub(crate) fn context(&self) -> Option<ContextView> {
        let context = self.about.context?;
        Some(ContextView {
            used: context.used,
            window: context.window,
            permille: context.permille(),
            compacting: self
                .work
                .iter()
                .any(|shown| matches!(shown, Shown::Reported(Kind::Compaction, _, open) if !open.unverified)),
            source: context.source.as_str(),
            confidence: context.confidence.as_str(),
        })
    }

    pub(crate) fn conversation_fact(&self) -> Option<ConversationFact> {
        let id = self.about.conversation.clone()?;
        Some(ConversationFact { id, provider: self.config.identity.provider.clone() })
    }
}
