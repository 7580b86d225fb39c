-- +goose Up
-- generation counts changes that authorization must see; see cache.go.
CREATE TABLE org_generation (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);
INSERT INTO org_generation (id, n) VALUES (1, 1);

CREATE TABLE org_organization (
  id TEXT PRIMARY KEY,
  root TEXT NOT NULL UNIQUE,
  management TEXT NOT NULL UNIQUE,
  feature_set TEXT NOT NULL,
  created BIGINT NOT NULL
);

-- Every account that this node is home to. org and parent are '' while it belongs to no organization.
CREATE TABLE org_account (
  id TEXT PRIMARY KEY,
  org TEXT NOT NULL,
  parent TEXT NOT NULL,
  name TEXT NOT NULL,
  email TEXT NOT NULL,
  email_key TEXT NOT NULL UNIQUE,
  method TEXT NOT NULL,
  state TEXT NOT NULL,
  joined BIGINT NOT NULL
);
CREATE INDEX org_account_parent ON org_account (org, parent);

CREATE TABLE org_unit (
  id TEXT PRIMARY KEY,
  org TEXT NOT NULL,
  parent TEXT NOT NULL,
  name TEXT NOT NULL,
  created BIGINT NOT NULL,
  UNIQUE (parent, name)
);
CREATE INDEX org_unit_org ON org_unit (org);

CREATE TABLE org_account_request (
  id TEXT PRIMARY KEY,
  org TEXT NOT NULL,
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  requested BIGINT NOT NULL,
  completed BIGINT NOT NULL
);
CREATE INDEX org_account_request_state ON org_account_request (state);

CREATE TABLE org_policy_type (
  org TEXT NOT NULL,
  type TEXT NOT NULL,
  PRIMARY KEY (org, type)
);

CREATE TABLE org_policy (
  id TEXT PRIMARY KEY,
  org TEXT NOT NULL,
  type TEXT NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  content TEXT NOT NULL,
  created BIGINT NOT NULL,
  UNIQUE (org, type, name)
);

-- ordinal keeps the order of attachment, which is significant for management policies.
CREATE TABLE org_attachment (
  org TEXT NOT NULL,
  target TEXT NOT NULL,
  policy TEXT NOT NULL,
  type TEXT NOT NULL,
  ordinal BIGINT NOT NULL,
  PRIMARY KEY (org, target, policy)
);
CREATE INDEX org_attachment_policy ON org_attachment (org, policy);

CREATE TABLE org_tag (
  org TEXT NOT NULL,
  target TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (org, target, name)
);

CREATE TABLE org_service_access (
  org TEXT NOT NULL,
  service TEXT NOT NULL,
  enabled BIGINT NOT NULL,
  PRIMARY KEY (org, service)
);

CREATE TABLE org_delegate (
  org TEXT NOT NULL,
  account TEXT NOT NULL,
  service TEXT NOT NULL,
  enabled BIGINT NOT NULL,
  PRIMARY KEY (org, account, service)
);
-- +goose Down
