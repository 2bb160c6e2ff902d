//! A CloudTrail record as AWS writes it. The one file that knows its camelCase.

use crate::source::json::Json;

/// A view of one record. Every field may be missing or of another type than documented; then it is absent.
#[derive(Debug, Clone, Copy)]
pub struct ApiCall<'r> {
    json: &'r Json<'r>,
}

/// `userIdentity`.
#[derive(Debug, Clone, Copy)]
pub struct UserIdentity<'r> {
    json: Option<&'r Json<'r>>,
}

impl<'r> ApiCall<'r> {
    /// Whether a document is one: it has a service and an action, or at least a record's version.
    pub fn is_one(json: &Json<'_>) -> bool {
        let has = |key| json.get(key).is_some();
        (has("eventSource") && has("eventName"))
            || (has("eventVersion") && (has("eventName") || has("eventType")))
    }

    pub fn new(json: &'r Json<'r>) -> Self {
        Self { json }
    }

    fn text(&self, key: &str) -> Option<&'r str> {
        self.json.get(key)?.str()
    }

    /// An object or a string that stands for one; null, `""` and `{}` are absent.
    fn body(&self, key: &str) -> Option<&'r Json<'r>> {
        self.json.get(key).filter(|body| !body.is_empty())
    }

    pub fn event_time(&self) -> Option<&'r str> {
        // Exporters that re-index records keep only `@timestamp`.
        self.text("eventTime").or_else(|| self.text("@timestamp"))
    }

    pub fn event_id(&self) -> Option<&'r str> {
        self.text("eventID")
    }

    pub fn event_name(&self) -> Option<&'r str> {
        self.text("eventName")
    }

    pub fn event_source(&self) -> Option<&'r str> {
        self.text("eventSource")
    }

    pub fn region(&self) -> Option<&'r str> {
        self.text("awsRegion")
    }

    pub fn source_address(&self) -> Option<&'r str> {
        self.text("sourceIPAddress")
    }

    pub fn user_agent(&self) -> Option<&'r str> {
        self.text("userAgent")
    }

    pub fn error_code(&self) -> Option<&'r str> {
        self.text("errorCode")
    }

    pub fn error_message(&self) -> Option<&'r str> {
        self.text("errorMessage")
    }

    pub fn request_parameters(&self) -> Option<&'r Json<'r>> {
        self.body("requestParameters")
    }

    pub fn response_elements(&self) -> Option<&'r Json<'r>> {
        self.body("responseElements")
    }

    pub fn additional_event_data(&self) -> Option<&'r Json<'r>> {
        self.body("additionalEventData")
    }

    pub fn service_event_details(&self) -> Option<&'r Json<'r>> {
        self.body("serviceEventDetails")
    }

    pub fn insight_details(&self) -> Option<&'r Json<'r>> {
        self.body("insightDetails")
    }

    pub fn addendum(&self) -> Option<&'r Json<'r>> {
        self.body("addendum")
    }

    pub fn resources(&self) -> &'r [Json<'r>] {
        self.json.get("resources").map_or(&[], Json::items)
    }

    pub fn request_id(&self) -> Option<&'r str> {
        self.text("requestID")
    }

    /// AWS writes `sharedEventID`; some data sets and Elastic's pipeline say `sharedEventId`.
    pub fn shared_event_id(&self) -> Option<&'r str> {
        self.text("sharedEventID").or_else(|| self.text("sharedEventId"))
    }

    pub fn recipient_account_id(&self) -> Option<&'r str> {
        self.text("recipientAccountId")
    }

    pub fn vpc_endpoint_id(&self) -> Option<&'r str> {
        self.text("vpcEndpointId")
    }

    pub fn vpc_endpoint_account_id(&self) -> Option<&'r str> {
        self.text("vpcEndpointAccountId")
    }

    pub fn is_read_only(&self) -> Option<bool> {
        self.json.get("readOnly")?.bool()
    }

    pub fn is_management_event(&self) -> Option<bool> {
        self.json.get("managementEvent")?.bool()
    }

    /// A string in the record, and a keyword in rules.
    pub fn is_console_session(&self) -> Option<bool> {
        self.json.get("sessionCredentialFromConsole")?.bool()
    }

    pub fn event_category(&self) -> Option<&'r str> {
        self.text("eventCategory")
    }

    pub fn event_type(&self) -> Option<&'r str> {
        self.text("eventType")
    }

    pub fn event_version(&self) -> Option<&'r str> {
        self.text("eventVersion")
    }

    pub fn api_version(&self) -> Option<&'r str> {
        self.text("apiVersion")
    }

    pub fn tls_version(&self) -> Option<&'r str> {
        self.json.str_at(&["tlsDetails", "tlsVersion"])
    }

    pub fn tls_cipher(&self) -> Option<&'r str> {
        self.json.str_at(&["tlsDetails", "cipherSuite"])
    }

    pub fn tls_host(&self) -> Option<&'r str> {
        self.json.str_at(&["tlsDetails", "clientProvidedHostHeader"])
    }

    pub fn user_identity(&self) -> UserIdentity<'r> {
        UserIdentity { json: self.json.get("userIdentity") }
    }

    pub fn request_str(&self, keys: &[&str]) -> Option<&'r str> {
        self.request_parameters()?.str_at(keys)
    }

    pub fn response_str(&self, keys: &[&str]) -> Option<&'r str> {
        self.response_elements()?.str_at(keys)
    }

    /// `ConsoleLogin` fails without an error code; its answer says so.
    pub fn console_login_answer(&self) -> Option<&'r str> {
        self.response_str(&["ConsoleLogin"])
    }

    /// The account's user named in the request, for `related.user` and `user.target`.
    pub fn target_user_name(&self) -> Option<&'r str> {
        self.request_str(&["userName"])
    }

    pub fn new_user_name(&self) -> Option<&'r str> {
        self.request_str(&["newUserName"])
    }

    pub fn target_group_name(&self) -> Option<&'r str> {
        self.request_str(&["groupName"])
    }

    pub fn created_user_id(&self) -> Option<&'r str> {
        self.response_str(&["user", "userId"])
    }

    pub fn group_id(&self) -> Option<&'r str> {
        self.response_str(&["group", "groupId"])
    }
}

impl<'r> UserIdentity<'r> {
    fn text(&self, keys: &[&str]) -> Option<&'r str> {
        self.json?.str_at(keys)
    }

    pub fn kind(&self) -> Option<&'r str> {
        self.text(&["type"])
    }

    pub fn principal_id(&self) -> Option<&'r str> {
        self.text(&["principalId"])
    }

    pub fn arn(&self) -> Option<&'r str> {
        self.text(&["arn"])
    }

    pub fn account_id(&self) -> Option<&'r str> {
        self.text(&["accountId"])
    }

    pub fn access_key_id(&self) -> Option<&'r str> {
        self.text(&["accessKeyId"])
    }

    pub fn user_name(&self) -> Option<&'r str> {
        self.text(&["userName"])
    }

    pub fn invoked_by(&self) -> Option<&'r str> {
        self.text(&["invokedBy"])
    }

    pub fn identity_provider(&self) -> Option<&'r str> {
        self.text(&["identityProvider"])
    }

    /// The person of an identity centre that a session acts for.
    pub fn on_behalf_of(&self, key: &str) -> Option<&'r str> {
        self.text(&["onBehalfOf", key])
    }

    /// What a service's credentials were issued to: an instance, a task, a function.
    pub fn in_scope_of(&self, key: &str) -> Option<&'r str> {
        self.text(&["inScopeOf", key])
    }

    pub fn federated_provider(&self) -> Option<&'r str> {
        self.text(&["sessionContext", "webIdFederationData", "federatedProvider"])
    }

    pub fn federation_attributes(&self) -> Option<&'r Json<'r>> {
        self.json?.at(&["sessionContext", "webIdFederationData", "attributes"])
    }

    pub fn credential_id(&self) -> Option<&'r str> {
        self.text(&["credentialId"])
    }

    pub fn issuer(&self, key: &str) -> Option<&'r str> {
        self.text(&["sessionContext", "sessionIssuer", key])
    }

    pub fn issuer_user_name(&self) -> Option<&'r str> {
        self.issuer("userName")
    }

    pub fn mfa_authenticated(&self) -> Option<bool> {
        self.json?.at(&["sessionContext", "attributes", "mfaAuthenticated"])?.bool()
    }

    pub fn session_created(&self) -> Option<&'r str> {
        self.text(&["sessionContext", "attributes", "creationDate"])
    }

    /// `1.0` or `2.0`: the version of the metadata service that handed out the key.
    pub fn ec2_role_delivery(&self) -> Option<&'r str> {
        self.text(&["sessionContext", "ec2RoleDelivery"])
    }

    /// The session's name if EC2 delivered its credentials: the instance's id. Whoever assumes a role may call the
    /// session `i-…`; how the credentials were delivered is AWS's own word.
    pub fn delivered_to(&self) -> Option<&'r str> {
        self.ec2_role_delivery()?;
        self.session_name()
    }

    pub fn source_identity(&self) -> Option<&'r str> {
        self.text(&["sessionContext", "sourceIdentity"])
    }

    /// What follows the first colon: the session's name. Users have no colon; a federated name may hold more.
    pub fn session_name(&self) -> Option<&'r str> {
        let (_, name) = self.principal_id()?.split_once(':')?;
        (!name.is_empty()).then_some(name)
    }
}
