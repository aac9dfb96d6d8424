package live_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// roleEnv makes this test program play another part: a program that works on files while the test captures them.
const roleEnv = "LIVE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		play(role)
		return
	}
	goleak.VerifyTestMain(m)
}
