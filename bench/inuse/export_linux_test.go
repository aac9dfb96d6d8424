package inuse

// What the tests of judging need.
var (
	Judge    = judge
	JudgeLog = judgeLog
	Content  = content
	Record   = record
)
