"""What a net says of every face that a camera, a video or a picture shows."""
