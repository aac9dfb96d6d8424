// Command far starts an S3 server on loopback that is as far away as it is told, and counts requests. testing/compare-far.sh measures with it what a
// far repository costs tarn and others. The arguments are the round trip and a folder for what the server keeps; in
// bash:
//
//	coproc far { exec far 50ms /tmp/s3; }; read -r line <&${far[0]}; export $line
//	tarn -r s3:http://$FAR/$BUCKET/repo init; curl -s http://$COUNTER/
//
// It prints one line of variables for a shell: the addresses of the server, far and near, and of the counter, the bucket, and the keys. A GET at the
// counter prints the requests since the last one, by method. The delay is all that is far: bandwidth is not bounded. It ends with its standard input,
// and leaves the folder as it is.
package main
