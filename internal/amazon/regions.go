package amazon

import (
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// standardRegion matches the Regions of the standard partition, the only one in which CockroachDB Cloud runs.
var standardRegion = regexp.MustCompile(`^(af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-[0-9]$`)

// IsRegion reports whether the text has the form of a Region's code in the standard partition of AWS.
func IsRegion(code string) bool { return standardRegion.MatchString(code) }

// Regions are the codes of the Regions that AWS had when its SDK was last updated here, in alphabetical order: those to
// which S3 can constrain a bucket, and us-east-1, which needs no constraint
// (docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucketConfiguration.html). EU is an old name of eu-west-1.
func Regions() []string {
	regions := []string{"us-east-1"}
	for _, constraint := range types.BucketLocationConstraint("").Values() {
		if IsRegion(string(constraint)) {
			regions = append(regions, string(constraint))
		}
	}
	slices.Sort(regions)
	return regions
}
