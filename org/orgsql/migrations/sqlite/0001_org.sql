-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_orgs (
	tenant     text NOT NULL,
	id         text NOT NULL,
	name       text NOT NULL,
	version    integer NOT NULL,
	created_at integer NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE TABLE IF NOT EXISTS authkit_org_members (
	tenant    text NOT NULL,
	org_id    text NOT NULL,
	user_id   text NOT NULL,
	roles     text NOT NULL,
	is_owner  integer NOT NULL,
	joined_at integer NOT NULL,
	PRIMARY KEY (tenant, org_id, user_id)
);
CREATE INDEX IF NOT EXISTS authkit_org_members_user ON authkit_org_members (tenant, user_id, org_id);
CREATE INDEX IF NOT EXISTS authkit_org_members_owner ON authkit_org_members (tenant, org_id, is_owner, user_id);
CREATE TABLE IF NOT EXISTS authkit_org_invitations (
	tenant     text NOT NULL,
	id         text NOT NULL,
	org_id     text NOT NULL,
	email      text NOT NULL,
	roles      text NOT NULL,
	invited_by text NOT NULL,
	hash       blob NOT NULL,
	created_at integer NOT NULL,
	expires_at integer NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_org_invitations_org ON authkit_org_invitations (tenant, org_id, id);
CREATE INDEX IF NOT EXISTS authkit_org_invitations_expiry ON authkit_org_invitations (tenant, expires_at);
CREATE TABLE IF NOT EXISTS authkit_org_active (
	tenant     text NOT NULL,
	session_id text NOT NULL,
	org_id     text NOT NULL,
	expires_at integer NOT NULL,
	PRIMARY KEY (tenant, session_id)
);
CREATE INDEX IF NOT EXISTS authkit_org_active_expiry ON authkit_org_active (tenant, expires_at);
