-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_oidc_identities (
	tenant     text COLLATE "C" NOT NULL,
	id         text COLLATE "C" NOT NULL,
	user_id    text COLLATE "C" NOT NULL,
	provider   text NOT NULL,
	issuer     text COLLATE "C" NOT NULL,
	subject    text COLLATE "C" NOT NULL,
	email      text NOT NULL,
	tokens     bytea NOT NULL,
	created_at bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS authkit_oidc_identities_subject ON authkit_oidc_identities (tenant, issuer, subject);
CREATE INDEX IF NOT EXISTS authkit_oidc_identities_user ON authkit_oidc_identities (tenant, user_id);
