// Package s3 is a store in a bucket, reached by the S3 protocol with minio-go.
//
//	<bucket>/<prefix>/config
//	<bucket>/<prefix>/data/ab/<hex>
//
// Objects have the names that they have in a folder. Each is put by one request, whose signature covers the SHA-256 of the bytes: a server that
// got others refuses them. Packs are far below the 5 GiB that one request may have.
//
// # What is kept of the contract
//
// S3 puts are atomic and durable, and since 2020 gets and lists see what was done before, on AWS. MinIO, Ceph, SeaweedFS, B2 and R2 promise the
// same. A request that was cut off may still take effect later if all of it had arrived: [web.Upload] says how that is held off.
//
// # Versions and object lock
//
// In a bucket with versions Remove leaves a marker, and the bytes stay until a life-cycle rule of the bucket's removes them. With Hold set, what
// lasts is locked when it is put, in compliance mode: nobody can remove these bytes earlier. Remove of a pack asks first, and does nothing while
// it is locked; other objects are small, and are taken out of sight. See [storage.Holder].
//
// # Credentials
//
// They come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN), from MinIO's variables, from the AWS profile file, or from
// the role of the machine or container, in this order; without any of them requests are anonymous.
package s3
