-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_oidc_identities (
	tenant     varbinary(64) NOT NULL,
	id         varbinary(255) NOT NULL,
	user_id    varbinary(255) NOT NULL,
	provider   varbinary(255) NOT NULL,
	issuer     varbinary(1024) NOT NULL,
	subject    varbinary(255) NOT NULL,
	email      varbinary(320) NOT NULL,
	tokens     mediumblob NOT NULL,
	created_at bigint NOT NULL,
	PRIMARY KEY (tenant, id),
	UNIQUE KEY authkit_oidc_identities_subject (tenant, issuer, subject),
	KEY authkit_oidc_identities_user (tenant, user_id)
) ENGINE = InnoDB;
