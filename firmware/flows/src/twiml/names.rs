//! The elements of the language: which attributes each knows, and what may stand inside.

macro_rules! names {
    ($($name:ident $kind:ident [$($attribute:literal)*] [$($child:ident)*]),* $(,)?) => {
        /// Elements, spelt exactly so.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Name { $($name),* }

        impl Name {
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// Spelling.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            pub(super) const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind),* }
            }

            /// Attributes that the element knows.
            pub(super) const fn attributes(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($attribute),*]),* }
            }

            /// Elements that may stand directly inside.
            pub(super) const fn children(self) -> &'static [Self] {
                match self { $(Self::$name => &[$(Self::$child),*]),* }
            }
        }
    };
}

/// What an element is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It may stand in a Response, and the box does it.
    Verb,
    /// It may stand in a Response, and the box cannot do it.
    Foreign,
    /// It belongs inside a verb.
    Noun,
}

names!(
    Say Verb ["voice" "language" "loop"] [],
    Play Verb ["loop" "digits"] [],
    Pause Verb ["length"] [],
    Gather Verb [
        "input" "action" "method" "timeout" "finishOnKey" "numDigits" "minDigits" "maxDigits"
        "actionOnEmptyResult" "speechTimeout" "maxSpeechTime" "language" "hints" "profanityFilter"
        "speechModel" "enhanced" "debug" "bargeIn" "partialResultCallback" "partialResultCallbackMethod"
    ] [Say Play Pause],
    Record Verb [
        "action" "method" "timeout" "finishOnKey" "maxLength" "playBeep" "beep" "trim"
        "recordingStatusCallback" "recordingStatusCallbackMethod" "recordingStatusCallbackEvent"
        "transcribe" "transcribeCallback" "storageUrl" "storageUrlMethod"
    ] [],
    Dial Verb [
        "action" "method" "timeout" "hangupOnStar" "timeLimit" "callerId" "callReason" "record" "trim"
        "recordingTrack" "recordingStatusCallback" "recordingStatusCallbackMethod"
        "recordingStatusCallbackEvent" "answerOnBridge" "ringTone" "sequential" "referUrl" "referMethod"
        "recordingConfigurationId" "events" "passports"
    ] [Number Sip Client Conference Queue Sim WhatsApp Application Uri User Device Verto],
    Enqueue Verb ["action" "method" "waitUrl" "waitUrlMethod" "maxQueueSize" "workflowSid"] [Task],
    Leave Verb [] [],
    Hangup Verb [] [Parameter],
    Redirect Verb ["method"] [],
    Reject Verb ["reason" "prompt"] [Parameter],
    Refer Verb ["action" "method"] [Sip],
    Echo Verb ["timeout"] [],
    Sms Verb ["to" "from" "action" "method" "statusCallback"] [],
    Set Verb [] [Variable],
    Queue Verb ["url" "method" "reservationSid" "postWorkActivitySid"] [],
    Start Verb ["action" "method"] [Stream Siprec Transcription Recording],
    Stop Verb [] [Stream Siprec Transcription],
    Connect Verb ["action" "method"] [
        Stream Room VirtualAgent Conversation ConversationRelay AiSession Autopilot
    ],
    Pay Foreign [
        "input" "action" "method" "bankAccountType" "statusCallback" "statusCallbackMethod" "timeout"
        "maxAttempts" "securityCode" "postalCode" "minPostalCodeLength" "paymentConnector" "paymentMethod"
        "tokenType" "chargeAmount" "currency" "description" "validCardTypes" "language"
    ] [Prompt Parameter],
    Prompt Foreign ["for" "errorType" "cardType" "attempt" "requireMatchingInputs"] [Say Play Pause],
    Denoise Foreign [] [],
    Number Noun [
        "sendDigits" "url" "method" "statusCallback" "statusCallbackMethod" "statusCallbackEvent"
        "machineDetection" "amdStatusCallback" "amdStatusCallbackMethod" "machineDetectionTimeout"
        "machineDetectionSpeechThreshold" "machineDetectionSpeechEndThreshold"
        "machineDetectionSilenceTimeout" "byoc"
    ] [],
    Sip Noun [
        "username" "password" "url" "method" "statusCallback" "statusCallbackMethod" "statusCallbackEvent"
        "machineDetection" "amdStatusCallback" "amdStatusCallbackMethod" "machineDetectionTimeout"
        "machineDetectionSpeechThreshold" "machineDetectionSpeechEndThreshold"
        "machineDetectionSilenceTimeout" "codecs" "sessionTimeout"
    ] [Uri Headers],
    Uri Noun ["priority" "weight" "username" "password"] [],
    Headers Noun [] [Header],
    Header Noun ["name" "value"] [],
    Client Noun [
        "url" "method" "statusCallback" "statusCallbackMethod" "statusCallbackEvent"
    ] [Identity Parameter],
    Identity Noun [] [],
    Parameter Noun ["name" "value"] [],
    User Noun [] [],
    Device Noun [] [],
    Verto Noun [] [],
    Sim Noun [] [],
    WhatsApp Noun [] [],
    Application Noun [
        "url" "method" "statusCallback" "statusCallbackMethod" "statusCallbackEvent" "customerId"
        "copyParentTo"
    ] [Parameter],
    Conference Noun [
        "muted" "beep" "startConferenceOnEnter" "endConferenceOnExit" "waitUrl" "waitMethod"
        "maxParticipants" "record" "trim" "coach" "statusCallbackEvent" "statusCallback"
        "statusCallbackMethod" "recordingStatusCallback" "recordingStatusCallbackMethod"
        "recordingStatusCallbackEvent" "jitterBufferSize" "participantLabel" "region"
        "recordingConfigurationId" "eventCallbackUrl"
    ] [],
    Task Noun ["priority" "timeout"] [],
    Variable Noun ["key" "value"] [],
    Stream Noun [
        "url" "name" "connectorName" "track" "statusCallback" "statusCallbackMethod" "codec" "realtime"
        "authBearerToken" "bidirectionalMode"
    ] [Parameter],
    Siprec Noun ["name" "connectorName" "track" "statusCallback" "statusCallbackMethod"] [Parameter],
    Transcription Noun [
        "name" "track" "statusCallbackUrl" "statusCallbackMethod" "inboundTrackLabel" "outboundTrackLabel"
        "partialResults" "languageCode" "transcriptionEngine" "profanityFilter" "speechModel" "hints"
        "enableAutomaticPunctuation" "intelligenceService"
    ] [Parameter Config],
    Config Noun ["name" "value"] [],
    Recording Noun [
        "recordingStatusCallback" "recordingStatusCallbackMethod" "recordingStatusCallbackEvent" "trim"
        "track" "channels" "recordingConfigurationId"
    ] [],
    Room Noun ["participantIdentity"] [],
    VirtualAgent Noun [
        "connectorName" "language" "sentimentAnalysis" "statusCallback" "statusCallbackMethod"
    ] [Parameter Config],
    Conversation Noun ["serviceInstanceSid" "url" "method" "record" "trim"] [],
    ConversationRelay Noun [
        "url" "welcomeGreeting" "welcomeGreetingInterruptible" "voice" "language" "ttsProvider"
        "ttsLanguage" "transcriptionProvider" "transcriptionLanguage" "speechModel" "interruptible"
        "dtmfDetection" "reportInputDuringAgentSpeech" "preemptible" "hints" "profanityFilter"
    ] [Parameter],
    AiSession Noun ["aiConnector" "aiSessionConfiguration"] [],
    Autopilot Noun [] [],
);

impl Name {
    /// The element that `written` names.
    pub(super) fn of(written: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.as_str() == written)
    }

    /// Elements of a spoken text that the speech engine is told.
    pub(super) fn is_speech_markup(written: &str) -> bool {
        matches!(
            written,
            "break" | "emphasis" | "lang" | "p" | "phoneme" | "prosody" | "s" | "say-as" | "sub" | "w"
        )
    }

    /// Attributes that are read and have no effect on the box, so that their author should know.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most elements have none")]
    pub(super) fn is_without_effect(self, attribute: &str) -> bool {
        let in_general = matches!(
            attribute,
            "byoc"
                | "region"
                | "recordingConfigurationId"
                | "events"
                | "passports"
                | "reservationSid"
                | "postWorkActivitySid"
        );
        let of_this = match self {
            Self::Reject => attribute == "prompt",
            Self::Sip => matches!(attribute, "codecs" | "sessionTimeout"),
            Self::Stream => {
                matches!(attribute, "codec" | "realtime" | "authBearerToken" | "bidirectionalMode")
            }
            _ => false,
        };
        in_general || of_this || (attribute == "connectorName" && matches!(self, Self::Stream))
    }
}
