package simulator

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kmsMember is one parameter of an operation, or one field of a structure in a parameter.
type kmsMember struct {
	name     string
	shape    *kmsShape
	required bool
}

// need and may are a required and an optional parameter.
func need(name string, shape *kmsShape) kmsMember { return kmsMember{name, shape, true} }
func may(name string, shape *kmsShape) kmsMember  { return kmsMember{name, shape, false} }

// kmsShape bounds the values of a parameter, as AWS's API model of KMS does. An end-to-end test compares the shapes with the model.
type kmsShape struct {
	// least and most bound the value of a number, the length of a string in characters, of a blob in bytes and of a list in
	// elements. A most of 0 is no bound.
	least, most int
	// pattern is for the whole string.
	pattern *regexp.Regexp
	values  []string
	// blob strings are base64.
	blob bool
	// each is the shape of a list's elements.
	each *kmsShape
	// fields are those of a structure.
	fields []kmsMember
}

func text(least, most int, pattern string) *kmsShape {
	s := &kmsShape{least: least, most: most}
	if pattern != "" {
		s.pattern = regexp.MustCompile(`^(?:` + pattern + `)$`)
	}
	return s
}

func oneOf(values ...string) *kmsShape { return &kmsShape{values: values} }

// Shapes by their names in the model.
var (
	keyIDType        = text(1, 2048, "")
	aliasNameType    = text(1, 256, `[a-zA-Z0-9:/_-]+`)
	policyNameType   = text(1, 128, `\w+`)
	policyType       = text(1, 131072, `[\x{9}\x{A}\x{D}\x{20}-\x{FF}]+`)
	descriptionType  = text(0, 8192, "")
	markerType       = text(1, 1024, `[\x{20}-\x{FF}]*`)
	regionType       = text(1, 32, `([a-z]+-){2,3}\d+`)
	principalIDType  = text(1, 256, `[\w+=,.@:/-]+`)
	grantNameType    = text(1, 256, `[a-zA-Z0-9:/_-]+`)
	grantIDType      = text(1, 128, "")
	materialIDType   = text(64, 64, `[a-f0-9]+`)
	materialDocType  = text(0, 256, `[a-zA-Z0-9:/_\s.-]+`)
	keyStoreIDType   = text(1, 64, "")
	xksKeyIDType     = text(1, 128, `[a-zA-Z0-9_.-]+`)
	limitType        = &kmsShape{least: 1, most: 1000}
	rotationDaysType = &kmsShape{least: 90, most: 2560}
	waitingDaysType  = &kmsShape{least: 1, most: 365}
	dataKeyBytesType = &kmsShape{least: 1, most: 1024}
	plaintextType    = &kmsShape{least: 1, most: 4096, blob: true}
	ciphertextType   = &kmsShape{least: 1, most: 6144, blob: true}
	grantTokenList   = &kmsShape{most: 10, each: text(1, 8192, "")}
	tagKeyType       = text(1, 128, "")
	tagKeyList       = &kmsShape{each: tagKeyType}
	tagList          = &kmsShape{each: &kmsShape{fields: []kmsMember{need("TagKey", tagKeyType), need("TagValue", text(0, 256, ""))}}}
	// anything has no bounds: booleans, timestamps and encryption contexts.
	anything = &kmsShape{}

	rotationKindType   = oneOf("ALL_KEY_MATERIAL", "ROTATIONS_ONLY")
	keyUsageType       = oneOf("SIGN_VERIFY", usageEncrypt, "GENERATE_VERIFY_MAC", "KEY_AGREEMENT")
	oldKeySpecType     = oneOf("RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", specSymmetric, "HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512", "SM2")
	keySpecType        = oneOf(append(slices.Clone(oldKeySpecType.values), "ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "ECC_NIST_EDWARDS25519")...)
	originType         = oneOf(originAWS, originExternal, "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")
	wrappingType       = oneOf("RSAES_PKCS1_V1_5", wrapSHA1, wrapSHA256, "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256", "SM2PKE")
	wrappingSpecType   = oneOf("RSA_2048", "RSA_3072", "RSA_4096", "SM2")
	expirationType     = oneOf(materialExpires, materialStays)
	importKindType     = oneOf(newMaterial, existingMaterial)
	encryptionType     = oneOf(specSymmetric, wrapSHA1, wrapSHA256, "SM2PKE")
	dataKeySpecType    = oneOf("AES_256", "AES_128")
	grantOperationList = &kmsShape{each: oneOf("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom",
		"ReEncryptTo", "Sign", "Verify", "GetPublicKey", "CreateGrant", "RetireGrant", "DescribeKey", "GenerateDataKeyPair",
		"GenerateDataKeyPairWithoutPlaintext", "GenerateMac", "VerifyMac", "DeriveSharedSecret")}
	dryRunList = &kmsShape{each: oneOf("IGNORE_CIPHERTEXT")}
)

// checkParameters is the error for parameters that AWS's API model does not admit; it names all of them. Their types are those of
// kmsInput already.
func checkParameters(members []kmsMember, parameters map[string]any) *kmsError {
	problems := checkFields("", members, parameters)
	if len(problems) == 0 {
		return nil
	}
	count := "1 validation error"
	if n := len(problems); n > 1 {
		count = fmt.Sprintf("%d validation errors", n)
	}
	return invalid("%s detected: %s", count, strings.Join(problems, "; "))
}

func checkFields(at string, members []kmsMember, values map[string]any) (problems []string) {
	for _, m := range members {
		path := at + decapitalize(m.name)
		switch value := values[m.name]; {
		case value != nil:
			problems = append(problems, m.shape.check(path, value)...)
		case m.required:
			problems = append(problems, violation("null", path, "Member must not be null"))
		}
	}
	return problems
}

// violation words one problem as KMS does.
func violation(value, path, constraint string) string {
	return fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", value, path, constraint)
}

func (s *kmsShape) check(path string, value any) (problems []string) {
	switch value := value.(type) {
	case float64:
		return s.checkSize("value", fmt.Sprintf("'%v'", value), path, int(value))
	case string:
		shown, length := "'"+value+"'", utf8.RuneCountInString(value)
		if s.blob {
			decoded, _ := base64.StdEncoding.DecodeString(value)
			shown, length = "of type blob", len(decoded)
		}
		problems = s.checkSize("length", shown, path, length)
		if s.pattern != nil && !s.pattern.MatchString(value) {
			problems = append(problems, violation(shown, path, "Member must satisfy regular expression pattern: "+s.pattern.String()))
		}
		if s.values != nil && !slices.Contains(s.values, value) {
			problems = append(problems, violation(shown, path, "Member must satisfy enum value set: ["+strings.Join(s.values, ", ")+"]"))
		}
		return problems
	case []any:
		problems = s.checkSize("length", "of type list", path, len(value))
		for i, element := range value {
			if s.each != nil {
				problems = append(problems, s.each.check(fmt.Sprintf("%s.%d.member", path, i+1), element)...)
			}
		}
		return problems
	case map[string]any:
		return checkFields(path+".", s.fields, value)
	}
	return nil
}

func (s *kmsShape) checkSize(what, shown, path string, size int) []string {
	switch {
	case size < s.least:
		return []string{violation(shown, path, fmt.Sprintf("Member must have %s greater than or equal to %d", what, s.least))}
	case s.most > 0 && size > s.most:
		return []string{violation(shown, path, fmt.Sprintf("Member must have %s less than or equal to %d", what, s.most))}
	}
	return nil
}

// decapitalize spells a parameter's name as KMS's messages and CloudTrail do.
func decapitalize(name string) string {
	first, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(first)) + name[size:]
}
