package cmek

import "strings"

// Principal is who a cluster acts as when it uses a key: the ARN of an IAM role (AWS), the e-mail of a service account
// (Google) or a tenant id (Azure). The text is kept as it was written, because it is sent back to the Cloud API.
//
// Neither a session of a role (arn:aws:sts::…:assumed-role/NAME/SESSION) nor a user is a role.
type Principal string

// Canonical is the principal's identity, to compare principals by. A role's ARN loses its path, because IAM's own records
// leave the path out and a role's name is unique in its account. An e-mail is lower case. Every other text is its own
// canonical form.
func (p Principal) Canonical() string {
	if r, ok := p.role(); ok {
		return "arn:" + r.partition + ":iam::" + r.account + ":role/" + r.name
	}
	if name, domain, ok := p.email(); ok {
		return name + "@" + domain
	}
	return string(p)
}

// Same reports whether both are one principal. Nobody is the same as "".
func (p Principal) Same(other Principal) bool { return p != "" && p.Canonical() == other.Canonical() }

// IsRole reports whether the principal is the ARN of an IAM role.
func (p Principal) IsRole() bool {
	_, ok := p.role()
	return ok
}

// Account is who owns the principal: the AWS account id of a role, or the Google project of a service account
// ("example.com:project" if the project belongs to a domain); "" if the text does not say.
func (p Principal) Account() string {
	if r, ok := p.role(); ok {
		return r.account
	}
	_, domain, _ := p.email()
	project, ok := strings.CutSuffix(domain, ".iam.gserviceaccount.com")
	if !ok {
		return ""
	}
	if name, owner, scoped := strings.Cut(project, "."); scoped && name != "" && owner != "" {
		return owner + ":" + name
	}
	return strings.Trim(project, ".")
}

// Name is the principal's name within its account: a role's name without its path, or what stands before the @ of an
// e-mail. Every other text is its own name.
func (p Principal) Name() string {
	if r, ok := p.role(); ok {
		return r.name
	}
	if name, _, ok := p.email(); ok {
		return name
	}
	return string(p)
}

// SessionRole is the role of a session (arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION); "" for any other text. The ARN of a
// session leaves the role's path out.
func SessionRole(arn string) Principal {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] != "sts" || parts[3] != "" || !isAccountID(parts[4]) {
		return ""
	}
	name, ok := strings.CutPrefix(parts[5], "assumed-role/")
	name, session, _ := strings.Cut(name, "/")
	if !ok || name == "" || session == "" {
		return ""
	}
	return Principal("arn:" + parts[1] + ":iam::" + parts[4] + ":role/" + name)
}

// iamRole is the ARN of an IAM role taken apart, without the path.
type iamRole struct{ partition, account, name string }

// role reads arn:PARTITION:iam::ACCOUNT:role/PATH/NAME
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html).
func (p Principal) role() (iamRole, bool) {
	parts := strings.Split(string(p), ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] != "iam" || parts[3] != "" || !isAccountID(parts[4]) {
		return iamRole{}, false
	}
	path, ok := strings.CutPrefix(parts[5], "role/")
	name := path[strings.LastIndex(path, "/")+1:]
	return iamRole{parts[1], parts[4], name}, ok && name != ""
}

// email reads NAME@DOMAIN, in lower case.
func (p Principal) email() (name, domain string, ok bool) {
	name, domain, ok = strings.Cut(strings.ToLower(string(p)), "@")
	if !ok || name == "" || domain == "" || strings.ContainsAny(name, ":/ ") || strings.ContainsAny(domain, "@:/ ") {
		return "", "", false
	}
	return name, domain, true
}
