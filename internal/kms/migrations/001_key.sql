-- +goose Up
-- ROOT, wrapped once per seal. Every version stays: what was sealed under it still has to open.
CREATE TABLE kms_root (
  version BIGINT NOT NULL,
  seal_kind TEXT NOT NULL,
  seal_id TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (version, seal_kind, seal_id)
);

CREATE TABLE kms_key (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  manager TEXT NOT NULL,
  state TEXT NOT NULL,
  description TEXT NOT NULL,
  policy TEXT NOT NULL,
  created BIGINT NOT NULL,
  deletion BIGINT NOT NULL,
  pending_days BIGINT NOT NULL,
  rotation_days BIGINT NOT NULL,
  next_rotation BIGINT NOT NULL
);
CREATE INDEX kms_key_owner ON kms_key (account, region, id);
CREATE INDEX kms_key_deletion ON kms_key (state, deletion);
CREATE INDEX kms_key_rotation ON kms_key (next_rotation);

-- The key's secrets, newest ordinal current. wrapped is sealed under ROOT version root; '' once the key is destroyed.
CREATE TABLE kms_material (
  key TEXT NOT NULL,
  ordinal BIGINT NOT NULL,
  id TEXT NOT NULL,
  root BIGINT NOT NULL,
  wrapped BLOB NOT NULL,
  cause TEXT NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (key, ordinal)
);
CREATE UNIQUE INDEX kms_material_id ON kms_material (key, id);

CREATE TABLE kms_alias (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  PRIMARY KEY (account, region, name)
);
CREATE INDEX kms_alias_key ON kms_alias (key);

CREATE TABLE kms_tag (
  key TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (key, name)
);

CREATE TABLE kms_grant (
  id TEXT PRIMARY KEY,
  key TEXT NOT NULL,
  name TEXT NOT NULL,
  grantee TEXT NOT NULL,
  retiring TEXT NOT NULL,
  issuer TEXT NOT NULL,
  operations TEXT NOT NULL,
  constraint_kind TEXT NOT NULL,
  constraint_context TEXT NOT NULL,
  digest TEXT NOT NULL,
  created BIGINT NOT NULL
);
CREATE INDEX kms_grant_key ON kms_grant (key, id);
CREATE INDEX kms_grant_retiring ON kms_grant (retiring, id);
-- +goose Down
