"""What the tasks and the driver of a delivery say to each other, and who may send what."""
