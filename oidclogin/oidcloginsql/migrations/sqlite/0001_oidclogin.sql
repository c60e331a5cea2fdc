-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_oidc_identities (
	tenant     text NOT NULL,
	id         text NOT NULL,
	user_id    text NOT NULL,
	provider   text NOT NULL,
	issuer     text NOT NULL,
	subject    text NOT NULL,
	email      text NOT NULL,
	tokens     blob NOT NULL,
	created_at integer NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS authkit_oidc_identities_subject ON authkit_oidc_identities (tenant, issuer, subject);
CREATE INDEX IF NOT EXISTS authkit_oidc_identities_user ON authkit_oidc_identities (tenant, user_id);
